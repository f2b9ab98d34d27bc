//! The harness: private services, fleets, and the integration tests.
