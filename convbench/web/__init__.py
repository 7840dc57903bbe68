"""The service: HTTP over the verbs. It needs the extra `serve`; nothing below imports it."""
