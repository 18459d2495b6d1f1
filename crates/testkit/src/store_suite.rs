//! The conformance suite of the Store port.
