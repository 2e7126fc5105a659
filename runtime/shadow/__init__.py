"""The mirror: a part of a deployment's requests is answered by the primary as ever, and then put to
a shadow too; the two answers are compared. Which requests, decides HAProxy (balance/mirror.py).

    python -m runtime.shadow FOLDER NAME               passes bytes on, and copies them
    python -m runtime.shadow.comparer FOLDER NAME FD   its child: asks the shadow, compares, counts

watch, room, comparison, counts     decide; pure
passing, link, asking, tables       act
mirrors                             keeps one mirror for each service that has a shadow
reading                             what was counted, for whoever looks
"""
