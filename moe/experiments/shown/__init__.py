"""What readers see: style and data of figures, tables, figures to move."""
