//! The conformance suite of the Broker port.
