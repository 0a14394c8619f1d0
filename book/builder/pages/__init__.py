"""What Jupyter Book made, finished: pages that are light, that everybody can read and take along.

downloads    the chapter as a notebook, the package, the menu of a page
hosts        Binder and Colab, and what pip installs there
portable     MyST and cells as a notebook that runs elsewhere
pictures     figures in fewer bytes
icons        drawings in the page in place of a script and fonts of all icons
mathematics  formulas set at build time
held         code out of the way while that is done
previews     what a link leads to, shown beside it
reading      names, roles, folds, landmarks
"""
