"""The production topology as processes of this machine: nginx, fronts, workers, Postgres, Redis and a local ledger.

    python -m infra.topology --fronts 3 --workers 2

or, in a test that takes parts away while payments flow:

    async with Topology(home, fronts=3, workers=2) as topology:
        ...                                  # pay through topology.url
        topology.fronts[0].kill()            # SIGKILL, with all its processes
        await topology.fronts[0].start()     # returns when it is ready again
        await topology.workers[1].restart()  # SIGTERM, wait, start
        topology.postgres.freeze()           # SIGSTOP, with all its processes
        topology.postgres.thaw()

nginx runs on the very templates that `docker-compose.yml` uses (`infra/nginx`), the database has the logins of
`infra/postgres/roles.sql`, and each front and worker is `sluice front` or `sluice worker` as in the image. What is
different: one machine, so everything is on loopback or a unix socket, and nothing is limited but by the machine.
"""

from infra.topology.edge import EdgeError, Nginx, nginx_program, render
from infra.topology.parts import Front, Hands, Part, PartError, Worker
from infra.topology.servers import PostgresServer, RedisServer
from infra.topology.standby import StandbyServer
from infra.topology.topology import Topology, free_ports

__all__ = [
    "EdgeError",
    "Front",
    "Hands",
    "Nginx",
    "Part",
    "PartError",
    "PostgresServer",
    "RedisServer",
    "StandbyServer",
    "Topology",
    "Worker",
    "free_ports",
    "nginx_program",
    "render",
]
