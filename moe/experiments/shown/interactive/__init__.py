"""Figures that a reader moves by mouse, touch and keyboard: data from here, drawn in the page."""
