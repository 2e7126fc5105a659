WHO = "a module that our package would hide"
