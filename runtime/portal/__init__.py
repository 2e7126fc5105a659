"""The portal: the workspace for people, in a browser, at ``/ui``.

Pages are made on the server and can be read without scripts; a script of our own adds what moves.

place.py      a place: method, path, role, and the function that makes its page
places.py     all of them, and which one a path means
ask.py        one request as such a function sees it
answers.py    what such a function returns
sessions.py   who is signed in, and what a form must bring along
app.py        the ASGI application of /ui: may they, the page, its headers
template.py   the templates' words; everything is escaped
chart.py      curves as SVG
graph.py      what came from what as SVG
pages/        a file for each noun
"""
