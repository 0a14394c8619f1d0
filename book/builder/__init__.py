"""From MyST sources to an executed, checked, offline-readable HTML book.

contents      the chapters that _toc.yml names
parameters    the `parameters` cell of a chapter, and values given on the command line
keys          what a chapter's results depend on, as digests
surroundings  the machine's own settings, kept out
ending        nothing goes on when the build is told to end
execute       chapters -> executed notebooks, in parallel
provenance    how a page came to be, told at its foot
sources       links below figures and tables, and the files they lead to
vectors       vector figures in fewer bytes
fingerprint   whether the pages have to be made anew
stage         executed notebooks -> the folder Jupyter Book reads
render        the staged folder -> HTML
pages         the HTML -> light pages that everybody can read
gate          what the HTML must satisfy
paper         all pages as one PDF
pipeline      all of the above, in order
"""


class BuildError(Exception):
    """The book cannot be built; the message names the file, what was expected and what came."""
