"""The guided tour behind `dengar demo`: stages on a clock, and speech streamed to a live server."""
