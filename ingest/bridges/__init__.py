"""Bridges: from a broker to the service, acknowledged to the broker when the service has it on its disk.

A bridge is a process of its own and a source like any other: `sender` posts bodies until they are taken, `delivery`
keeps those that can never be, and a module for each broker (`mqtt`) fetches and acknowledges.
"""
