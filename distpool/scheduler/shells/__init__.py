"""The processes around the cores: sockets, threads, forks, signals and files; decisions are the cores'."""
