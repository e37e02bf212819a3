"""The timeline: segmentation and alignment of packets in time. Pure: no threads, clocks or sockets."""
