"""One address, two replicas, on one machine: networks, servers, clients, and what goes wrong between them."""
