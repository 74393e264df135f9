"""Jobs over HTTP: taking them, telling of them, and the page to try it."""
