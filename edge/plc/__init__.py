"""From verdicts to the reject: tracking, fail-safe and what drives a PLC."""
