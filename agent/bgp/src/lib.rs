//! BGP: session state machine, codec facade, Adj-RIB-Out. No sockets, no clock, no tasks.
