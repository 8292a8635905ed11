"""People who work with Vigie: accounts, sessions, second factor, rights, tokens of programs, OpenID Connect."""
