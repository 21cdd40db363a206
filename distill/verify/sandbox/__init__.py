"""Running code that nobody has read: a warm fork server whose children can do nothing but compute.

``kernel`` asks the kernel for the walls, ``server`` is the process that forks, ``client`` starts
it, asks it, and tries at the start whether the walls hold.
"""
