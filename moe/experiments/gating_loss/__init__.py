"""Chapter 6: L_log, its minima and the rates of EM and descent."""
