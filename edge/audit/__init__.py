"""The audit trail: who changed what on the station, and when, in a file that tells when it was tampered with."""
