"""SSH servers: who they are, how to log in, and their files over SFTP. asyncssh and sshfs are named
in this folder only."""
