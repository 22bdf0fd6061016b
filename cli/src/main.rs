//! `entra-workload`: finds out why a pod gets no Azure token, before and after it is deployed.

fn main() {}
