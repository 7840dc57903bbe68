"""The CI room: what a CI service is told to run. Pure, options -> text."""
