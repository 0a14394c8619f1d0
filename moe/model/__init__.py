"""The mixture of experts: its nonlinearities, its law, random ones (book, chapter 1)."""
