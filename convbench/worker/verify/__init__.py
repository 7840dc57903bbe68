"""Whether a layer is right: exactly on integers, nearly on the data that is timed, and once more after timing."""
