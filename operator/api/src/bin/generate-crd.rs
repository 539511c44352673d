//! Prints the CustomResourceDefinition that the types make: `crds/livecluster.yaml`.

fn main() -> Result<(), livecluster_api::DefinitionError> {
    print!("{}", livecluster_api::manifest()?);
    Ok(())
}
