//! The metallb.io and clarion.dev kinds: types, schemas, CEL rules, CRD generator.
