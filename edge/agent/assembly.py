"""What a real agent is made of. The only file that names the classes behind the ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.agent.config import AgentConfig
from edge.agent.parts import Parts
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.agent.agent import Agent


def assemble(config: AgentConfig, agent: Agent) -> Parts:
    """Raises ConfigError."""
    raise ConfigError("this agent has no parts yet")
