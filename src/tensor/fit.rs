use super::{Port, Tensor, TensorCastError, TensorName};

/// Says why a tensor is not one that a port takes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// The shape is not as declared.
    #[error("`{}` is declared as {}{}, and the tensor has shape {found:?}", port.name, port.dtype, port.shape)]
    Shape { port: Box<Port>, found: Vec<usize> },
    /// An element is not of the declared type and cannot be cast to it.
    #[error("`{name}` is not as declared")]
    Cast {
        name: TensorName,
        #[source]
        source: TensorCastError,
    },
}

impl Port {
    /// Checks a tensor against the declared shape and casts it to the declared type.
    ///
    /// Errors: [`FitError`] where the shape differs or an element cannot be cast.
    pub fn fit(&self, tensor: Tensor) -> Result<Tensor, FitError> {
        if !self.shape.admits(tensor.shape()) {
            return Err(FitError::Shape {
                port: Box::new(self.clone()),
                found: tensor.shape().to_vec(),
            });
        }
        tensor.cast(self.dtype).map_err(|source| FitError::Cast {
            name: self.name.clone(),
            source,
        })
    }
}
