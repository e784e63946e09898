"""A daemon seen in a browser, and by Prometheus: a process of its own, and a client like any other.

It only reads. If it dies, the daemon does not notice. It needs the extra `web`.
"""
