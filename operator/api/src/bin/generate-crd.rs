//! Writes the CustomResourceDefinition that the types make to its two files in the repository.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = livecluster_api::manifest()?;
    for file in livecluster_api::definition::FILES {
        std::fs::write(repository.join(file), &manifest)?;
    }
    Ok(())
}
