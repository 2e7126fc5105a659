"""What runs a submitted script on its target. It is copied there with the script, needs nothing but
the standard library, and keeps to what Python 3.7 has, so that an old Python is refused in words.
Nothing else of Inferry imports it, but for the names in layout.py.

    agent.py run        makes the environment, runs the script, and writes how it ended
    agent.py detached   the same, in a process of its own
    agent.py follow     says on standard output what happens, and takes requests on standard input
"""
