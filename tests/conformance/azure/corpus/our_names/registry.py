WHO = "user's registry"
