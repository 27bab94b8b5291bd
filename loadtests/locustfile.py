"""All users of the scenarios, for locust's own web page; `python -m loadtests.run` runs each scenario by itself.

    python -m loadtests.tenants FOLDER && burgee serve --tenants FOLDER/tenants
    BURGEE_LOAD=FOLDER locust -f loadtests/locustfile.py --host http://127.0.0.1:8080 --class-picker

The spike is not among them: a shape would rule all of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # locust knows this folder only

from loadtests.scenarios.edge import EdgeProxy
from loadtests.scenarios.flood import FloodingTenant, SteadyTenant
from loadtests.scenarios.mobile import MobileClient
from loadtests.scenarios.reload import Publisher, Reader
from loadtests.scenarios.single import Mistaken, OpenFeatureClient
from loadtests.scenarios.tenants import ManyTenants

__all__ = [
    "EdgeProxy",
    "FloodingTenant",
    "ManyTenants",
    "Mistaken",
    "MobileClient",
    "OpenFeatureClient",
    "Publisher",
    "Reader",
    "SteadyTenant",
]
