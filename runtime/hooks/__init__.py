"""Hooks around a change of a deployment's scale: who is asked before it and told after it.

    hooks = DeploymentHooks("web", secret, told=print)
    asking = hooks.ask(declared.service.hooks, before)     # at once; asking.answer comes later
    passed(gate, before, asking.answer, ...)               # whether it may begin
    hooks.tell(declared.service.hooks, after)

signature.py   how a webhook is signed (Standard Webhooks)
delivery.py    which answers are tried again, and when
exchange.py    one HTTP request, with a deadline of the whole
webhook.py     one POST, and the tries of it
command.py     one program, without a shell, that does not outlive its deadline
lane.py        a worker with a bounded queue
gate.py        whether a change may begin
running.py     all of that for one deployment
listener.py    what joins it to changes of scale
"""
