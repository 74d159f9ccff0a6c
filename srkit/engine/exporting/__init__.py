"""Networks written for other runtimes, and the files of these run as networks."""
