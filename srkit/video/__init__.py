"""Films to frames and back, by PyAV: what is read, what is written, and the parts between that outlive a kill."""
