"""A receiver on this one machine: embedded servers and their processes, the wallet's files, the supervisor, the doctor.

`launcher` runs as a script of its own, and embedding knows of the project nothing but the settings: nothing is loaded
here.
"""
