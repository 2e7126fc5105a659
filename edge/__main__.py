"""``python3 -m edge``: the agent of a device, and what its user asks of it on the spot."""

from edge.agent.main import main

if __name__ == "__main__":
    main()
