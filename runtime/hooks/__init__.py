"""Hooks around a change of a deployment's scale: who is asked before it and told after it.

    hooks = DeploymentHooks("web", secret, told=print)
    asked = hooks.ask(declared.service.hooks, before)      # at once; asked.answer comes later
    gated(...)                                             # gate.py: go, wait, or put it off
    hooks.tell(declared.service.hooks, after)

signature.py   how a webhook is signed (Standard Webhooks)
delivery.py    which answers are tried again, and when
webhook.py     one POST, with a deadline, and the tries of it
command.py     one program, without a shell, that does not outlive its deadline
lane.py        a worker with a bounded queue
gate.py        what a change waits for
running.py     all of that for one deployment
"""
