use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tonic::codegen::tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::generated::grpc_inference_service_server::GrpcInferenceService;
use super::generated::model_infer_response::InferOutputTensor;
use super::generated::model_metadata_response::TensorMetadata;
use super::generated::repository_index_response::ModelIndex;
use super::generated::*;
use super::status::http_code;
use super::tensors;
use crate::serve::control::{Change, Parameter};
use crate::serve::http::Shared;
use crate::serve::protocol::{EXTENSIONS, SESSION, platform};
use crate::serve::telemetry::carried;
use crate::serve::{self, Caller, Found, Profile, Repository, Statistics, Wanted};
use crate::tensor::Port;
use crate::tensor::oip;

/// Answers the calls of the protocol.
pub(super) struct Inference {
    shared: Arc<Shared>,
}

/// How many answers of a stream may wait for a client that does not read.
const STREAM_ANSWERS: usize = 4;

impl Inference {
    pub fn new(shared: Arc<Shared>) -> Self {
        Inference { shared }
    }
}

/// Tells who calls, as the layer before found out.
fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get().cloned().unwrap_or_else(Caller::nobody)
}

/// Gives a version where one was asked for.
fn asked(version: &str) -> Option<&str> {
    (!version.is_empty()).then_some(version)
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = !self.shared.is_draining.load(Ordering::Relaxed) && self.shared.repository.is_ready();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        caller.check(&request.name)?;
        let state = self.shared.repository.state(&request.name, asked(&request.version))?;
        let ready = state.answers();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: "gpux".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        caller.check(&request.name)?;
        let model = self.shared.repository.profile(&request.name, asked(&request.version))?;
        let ports = |ports: &[Port]| {
            let each = ports.iter().map(|port| TensorMetadata {
                name: port.name.as_str().to_owned(),
                datatype: oip::datatype(port.dtype),
                shape: oip::shape(port),
            });
            each.collect()
        };
        Ok(Response::new(ModelMetadataResponse {
            name: model.name().to_owned(),
            versions: self.shared.repository.versions(model.name()),
            platform: platform(&model),
            inputs: ports(&model.signature().inputs),
            outputs: ports(&model.signature().outputs),
        }))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let timeout = client_timeout(request.metadata());
        let from = From {
            caller: caller(&request),
            session: session(request.metadata()),
        };
        infer(&self.shared, &from, request.into_inner(), timeout)
            .await
            .map(Response::new)
    }

    type ModelStreamInferStream = Pin<Box<dyn Stream<Item = Result<ModelStreamInferResponse, Status>> + Send>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let timeout = client_timeout(request.metadata());
        let from = From {
            caller: caller(&request),
            session: session(request.metadata()),
        };
        let mut requests = request.into_inner();
        let shared = Arc::clone(&self.shared);
        let (answers, stream) = tokio::sync::mpsc::channel(STREAM_ANSWERS);
        tokio::spawn(carried(async move {
            let mut is_first = true;
            while let Some(Ok(request)) = requests.next().await {
                let id = request.id.clone();
                // The stream was let through as its first request was.
                let counted = if is_first { Ok(()) } else { from.caller.count() };
                is_first = false;
                let answer = async {
                    counted?;
                    infer(&shared, &from, request, timeout).await
                };
                let answered = tokio::select! {
                    answered = answer => answered,
                    // The client went away, and its request with it.
                    () = answers.closed() => return,
                };
                let answer = answered.map_or_else(
                    |status| ModelStreamInferResponse {
                        error_message: status.message().to_owned(),
                        infer_response: Some(ModelInferResponse {
                            id,
                            ..ModelInferResponse::default()
                        }),
                    },
                    |answer| ModelStreamInferResponse {
                        error_message: String::new(),
                        infer_response: Some(answer),
                    },
                );
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let repository = &self.shared.repository;
        let mut models = match request.name.is_empty() {
            true => repository.profiles(),
            false => {
                caller.check(&request.name)?;
                vec![repository.profile(&request.name, asked(&request.version))?]
            }
        };
        models.retain(|model| caller.may_call(model.name()));
        let model_stats = models.iter().map(|model| statistics(model)).collect();
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let caller = caller(&request);
        let only_ready = request.into_inner().ready;
        let statuses = self.shared.repository.index().into_iter();
        let theirs = statuses.filter(|status| caller.may_call(&status.name));
        let wanted = theirs.filter(|status| !only_ready || status.state == "READY");
        let models = wanted.map(|status| ModelIndex {
            name: status.name,
            version: status.version,
            state: status.state.to_owned(),
            reason: status.reason,
        });
        Ok(Response::new(RepositoryIndexResponse {
            models: models.collect(),
        }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        let caller = self.admin(&request)?;
        let RepositoryModelLoadRequest {
            model_name, parameters, ..
        } = request.into_inner();
        caller.check_control(&model_name)?;
        let change = Change::read(model_name, parameters.into_iter().map(parameter))?;
        change.load(&self.shared.repository).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        let caller = self.admin(&request)?;
        let RepositoryModelUnloadRequest {
            model_name, parameters, ..
        } = request.into_inner();
        caller.check_control(&model_name)?;
        let change = Change::read(model_name, parameters.into_iter().map(parameter))?;
        change.unload(&self.shared.repository).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}

impl Inference {
    /// Gives who calls, where models are loaded and unloaded by calls at all.
    fn admin<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        match self.shared.is_controlled {
            true => Ok(caller(request)),
            false => Err(Status::unimplemented("models are not loaded and unloaded by calls")),
        }
    }
}

/// Reads a parameter of a call that loads or unloads.
fn parameter((name, value): (String, ModelRepositoryParameter)) -> (String, Parameter) {
    use model_repository_parameter::ParameterChoice;
    let value = match value.parameter_choice {
        Some(ParameterChoice::StringParam(text)) => Parameter::Text(text),
        Some(ParameterChoice::BoolParam(is_so)) => Parameter::Bool(is_so),
        _ => Parameter::Other,
    };
    (name, value)
}

/// Says from whom a request is, and which others belong to it.
struct From {
    caller: Caller,
    session: Option<String>,
}

/// Answers one request and counts it.
async fn infer(
    shared: &Shared,
    from: &From,
    request: ModelInferRequest,
    timeout: Option<Duration>,
) -> Result<ModelInferResponse, Status> {
    let began = Instant::now();
    let name = request.model_name.clone();
    let version = request.model_version.clone();
    let find = || {
        shared.repository.find(Wanted {
            name: &name,
            version: asked(&version),
            session: from.session.as_deref(),
        })
    };
    let caller = &from.caller;
    let found = caller.check(&name).and_then(|()| find());
    let found = found.map_err(|error| {
        let status = Status::from(error);
        shared
            .repository
            .metrics()
            .count_stray(caller.tenant(), http_code(&status));
        status
    })?;
    let profile = Arc::clone(found.profile());
    let answer = answer(&shared.repository, (found, caller), request, timeout).await;
    let code = answer.as_ref().map_or_else(http_code, |_| 200);
    profile.metrics().count_request(caller.tenant(), code, began.elapsed());
    answer
}

async fn answer(
    repository: &Arc<Repository>,
    (found, caller): (Found, &Caller),
    request: ModelInferRequest,
    timeout: Option<Duration>,
) -> Result<ModelInferResponse, Status> {
    let began = Instant::now();
    let own = tensors::whole(request.parameters.get("timeout")).filter(|&own| own > 0);
    let timeout = own.map(Duration::from_micros).into_iter().chain(timeout).min();
    let model = repository.awake(found, timeout).await?;
    let ports = &model.signature().outputs;
    let wanted: Vec<usize> = match request.outputs.is_empty() {
        true => (0..ports.len()).collect(),
        false => {
            let place = |name: &String| {
                let at = ports.iter().position(|port| port.name.as_str() == name);
                at.ok_or_else(|| oip::Error::Output(name.clone()))
            };
            let each = request.outputs.iter().map(|output| place(&output.name));
            each.collect::<Result<_, _>>()?
        }
    };
    let inputs = tensors::inputs(model.signature(), request.inputs, &request.raw_input_contents)?;
    let answer = model
        .call(serve::Request {
            inputs,
            tenant: Arc::clone(caller.tenant()),
            priority: tensors::whole(request.parameters.get("priority")).unwrap_or(0),
            timeout,
            began: Some(began),
            words: None,
        })
        .await?;
    let mut outputs = Vec::with_capacity(wanted.len());
    let mut raw_output_contents = Vec::with_capacity(wanted.len());
    for at in wanted {
        let tensor = &answer.outputs[at];
        let mut bytes = Vec::new();
        oip::encode_binary(tensor, &mut bytes);
        raw_output_contents.push(bytes.into());
        outputs.push(InferOutputTensor {
            name: ports[at].name.as_str().to_owned(),
            datatype: oip::datatype(tensor.dtype()),
            shape: tensor.shape().iter().map(|&size| size as i64).collect(),
            parameters: HashMap::new(),
            contents: None,
        });
    }
    Ok(ModelInferResponse {
        model_name: model.name().to_owned(),
        model_version: model.version().to_owned(),
        id: request.id,
        parameters: HashMap::new(),
        outputs,
        raw_output_contents,
    })
}

/// Reads what the client's requests have in common that one version is to answer.
fn session(metadata: &MetadataMap) -> Option<String> {
    let value = metadata.get(SESSION)?.to_str().ok()?;
    Some(value.to_owned())
}

/// Reads how long the client waits: `grpc-timeout`, a number of at most eight digits and a unit.
fn client_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

fn statistics(model: &Profile) -> ModelStatistics {
    let found: Statistics = model.metrics().statistics();
    let pair = |count: u64, time: Duration| {
        Some(StatisticDuration {
            count,
            ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        })
    };
    ModelStatistics {
        name: model.name().to_owned(),
        version: model.version().to_owned(),
        inference_count: found.rows,
        execution_count: found.calls,
        inference_stats: Some(InferStatistics {
            success: pair(found.succeeded, found.succeeded_time),
            fail: pair(found.failed, found.failed_time),
            queue: pair(found.succeeded + found.failed, found.queue_time),
            compute_infer: pair(found.calls, found.infer_time),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_client_waits_is_read_in_every_unit() {
        let of = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            client_timeout(&metadata)
        };
        assert_eq!(of("5S"), Some(Duration::from_secs(5)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(of("7u"), Some(Duration::from_micros(7)));
        for wrong in ["", "S", "-1S", "123456789S", "5", "5s"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
