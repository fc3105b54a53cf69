"""What the data and the features say before and after training: functions that return findings."""
