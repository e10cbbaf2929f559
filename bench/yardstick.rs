//! The other side of the benchmarks: ONNX Runtime through `ort` with as little around it as possible.
//!
//! ```text
//! yardstick once LIBRARY MODEL.onnx INPUT.npy       the whole work of one answer; prints the digit
//! yardstick ort-calls LIBRARY MODEL.onnx ROUNDS     nanoseconds of a call of ort's session
//! yardstick gpux-calls LIBRARY MODEL.onnx ROUNDS    nanoseconds of a call of gpux's session on the same library
//! yardstick cuda LIBRARY MODEL.onnx BATCH           milliseconds of a call on CUDA as everybody makes it, for images
//! yardstick picture FILE ROUNDS                     nanoseconds of a picture's way to [1, 3, 224, 224], as `imagenet` has it
//! yardstick sessions LIBRARY HOME REF COUNT PREPACK memory after each of several sessions of one stored model
//! yardstick log-mel FILE ROUNDS                     nanoseconds of the log-mel spectrum of half a minute, as `whisper` has it
//! yardstick call-time LIBRARY MODEL.onnx CALLS      the 99th percentile of a call of one image. Units: seconds
//! yardstick batch-rate LIBRARY MODEL.onnx ROWS S    rows a second of a perceptron, called with so many at once
//! yardstick serve LIBRARY MODEL.onnx PORT           an HTTP handler that calls the session with the body's image
//! yardstick grpc-load ADDRESS MODEL INPUT DATATYPE SHAPE CONNECTIONS SECONDS
//!                                                   requests a second over gRPC, one at a time on each connection
//! ```
//!
//! One process each, because one may start ONNX Runtime only once.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gpux::{
    bundle::Bundle,
    gpuxfile, onnx,
    pipeline::{Item, Pipeline, Request, SideFiles, audio},
    runtime::{
        Call, Cancel, Engine, LibrarySources, ModelFiles, Session, SessionOptions, Source, Value, ort as onnx_runtime,
    },
    store::Store,
    tensor::{DType, Dim, Port, Shape, Signature, Tensor, TensorName},
};
use ort::{ep, session::Session as OrtSession, value::TensorRef};

/// Calls that are timed together; the clock's own cost is then nothing.
const CALLS_A_ROUND: u32 = 500;
const WARM_UP_ROUNDS: u32 = 5;
/// The input of the perceptron.
const X: [f32; 4] = [0.1, 0.2, 0.3, 0.4];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["once", library, model, input] => once(library, model, input),
        ["ort-calls", library, model, rounds] => ort_calls(library, model, rounds.parse()?),
        ["gpux-calls", library, model, rounds] => gpux_calls(library, model, rounds.parse()?),
        ["cuda", library, model, batch] => cuda(library, model, batch.parse()?),
        ["picture", file, rounds] => picture(file, rounds.parse()?),
        ["sessions", library, home, reference, count, prepack] => {
            sessions(library, (home, reference), (count.parse()?, *prepack == "yes"))
        }
        ["log-mel", file, rounds] => log_mel(file, rounds.parse()?),
        ["call-time", library, model, calls] => call_time(library, model, calls.parse()?),
        ["batch-rate", library, model, rows, seconds] => batch_rate(library, model, rows.parse()?, seconds.parse()?),
        ["serve", library, model, port] => serve(library, model, port.parse()?),
        [
            "grpc-load",
            address,
            model,
            input,
            datatype,
            shape,
            connections,
            seconds,
        ] => {
            let body = infer_request(model, input, datatype, shape)?;
            grpc_load(address, body, connections.parse()?, seconds.parse()?)
        }
        _ => Err("usage: see the head of bench/yardstick.rs".into()),
    }
}

/// Reads a float32 image, runs the digits model once, prints the digit.
fn once(library: &str, model: &str, input: &str) -> Result<(), Box<dyn Error>> {
    let file = fs::read(input)?;
    let header_bytes = usize::from(u16::from_le_bytes([file[8], file[9]]));
    let pixels: Vec<f32> = file[10 + header_bytes..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();

    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut session = OrtSession::builder(&environment)?.commit_from_file(model)?;
    let image = TensorRef::from_array_view(([1usize, 1, 8, 8], pixels.as_slice()))?;
    let outputs = session.run(ort::inputs![image])?;
    let (_, digit) = outputs["digit"].try_extract_tensor::<i64>()?;
    println!("{}", digit[0]);
    Ok(())
}

/// Times a float32 image model on CUDA with every option as it is, host tensors in and out.
fn cuda(library: &str, model: &str, batch: usize) -> Result<(), Box<dyn Error>> {
    const SECONDS: f64 = 3.0;
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut session = OrtSession::builder(&environment)?
        .with_execution_providers([ep::CUDA::default().build().error_on_failure()])?
        .commit_from_file(model)?;
    let pixels: Vec<f32> = (0..batch * 3 * 224 * 224).map(|at| (at % 251) as f32 / 251.0).collect();
    let (mut times, mut began) = (Vec::new(), None);
    for call in 0.. {
        let start = Instant::now();
        let image = TensorRef::from_array_view(([batch, 3, 224, 224], pixels.as_slice()))?;
        let outputs = session.run(ort::inputs![image])?;
        let logits = outputs[0].try_extract_tensor::<f32>()?.1.to_vec();
        assert_eq!(logits.len(), batch * 1000);
        if call >= WARM_UP_ROUNDS {
            times.push(start.elapsed().as_secs_f64() * 1e3);
            if began.get_or_insert(start).elapsed().as_secs_f64() > SECONDS {
                break;
            }
        }
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{{\"median_ms\": {}, \"calls\": {}}}",
        times[times.len() / 2],
        times.len()
    );
    Ok(())
}

/// Times the way of a picture into a tensor.
fn picture(file: &str, rounds: u32) -> Result<(), Box<dyn Error>> {
    let text = "name: m\nmodel: m.onnx\npreprocessing: imagenet\n";
    let signature = Signature {
        inputs: vec![Port {
            name: TensorName::new("x"),
            dtype: DType::F32,
            shape: Shape::of([1, 3, 224, 224].map(Dim::Fixed)),
        }],
        outputs: Vec::new(),
    };
    let pipeline = Pipeline::new(&gpuxfile::parse(text, "GPUXfile")?, &signature, &SideFiles::new())?;
    let request = Request::from(Item::Picture(fs::read(file)?));
    let mut times = Vec::new();
    for round in 0..=rounds {
        let start = Instant::now();
        let prepared = pipeline.prepare(&request)?;
        let tensors = pipeline.join(&[&prepared])?;
        if round > 0 {
            times.push(start.elapsed().as_nanos());
        }
        drop(tensors);
    }
    println!("{{\"picture_ns\": {times:?}}}");
    Ok(())
}

/// Times the log-mel spectrum of a sound's first half minute, its samples at hand.
fn log_mel(file: &str, rounds: u32) -> Result<(), Box<dyn Error>> {
    let mut samples = audio::decode(&fs::read(file)?, &audio::Limits::default())?
        .resampled(16_000)
        .samples;
    samples.resize(30 * 16_000, 0.0);
    let plan = audio::MelPlan::new(&gpuxfile::Mel::whisper(80), 16_000);
    let (mut times, mut mean) = (Vec::new(), 0.0);
    for _ in 0..rounds {
        let start = Instant::now();
        let (_, values) = plan.log(&samples);
        times.push(start.elapsed().as_nanos());
        mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
    }
    println!("{{\"mean\": {mean}, \"log_mel_ns\": {times:?}}}");
    Ok(())
}

/// Prints the nanoseconds of one call, as the mean of each round.
fn time_rounds(rounds: u32, mut call: impl FnMut() -> Result<f32, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let (mut times, mut sum) = (Vec::new(), 0.0);
    for round in 0..WARM_UP_ROUNDS + rounds {
        let start = Instant::now();
        for _ in 0..CALLS_A_ROUND {
            sum += call()?;
        }
        if round >= WARM_UP_ROUNDS {
            times.push((start.elapsed() / CALLS_A_ROUND).as_nanos());
        }
    }
    println!("{{\"answers\": {sum}, \"call_ns\": {times:?}}}");
    Ok(())
}

/// Times calls of the 4-8-3 perceptron through ort alone.
fn ort_calls(library: &str, model: &str, rounds: u32) -> Result<(), Box<dyn Error>> {
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut session = OrtSession::builder(&environment)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .commit_from_file(model)?;
    time_rounds(rounds, || {
        let outputs = session.run(ort::inputs![TensorRef::from_array_view(([1usize, 4], X.as_slice()))?])?;
        Ok(outputs["y"].try_extract_tensor::<f32>()?.1[0])
    })
}

/// Times the same calls through the session that `gpux run` and `gpux bench` use.
fn gpux_calls(library: &str, model: &str, rounds: u32) -> Result<(), Box<dyn Error>> {
    let engine = onnx_runtime::Engine::open(&LibrarySources {
        explicit: Some(PathBuf::from(library)),
        ..LibrarySources::default()
    })?;
    let mut session = gpux_session(&engine, model)?;
    let inputs = [Value::Host(Tensor::from_vec([1, 4], X.to_vec())?)];
    let cancel = Cancel::default();
    time_rounds(rounds, || {
        let outputs = session.run(Call {
            inputs: &inputs,
            keep_on_device: &[],
            deadline: None,
            cancel: &cancel,
        })?;
        let y = outputs[0].as_host().and_then(Tensor::elements::<f32>);
        Ok(y.ok_or("the answer is not float32")?[0])
    })
}

/// Opens sessions of one stored model and lets each answer once; prints the anonymous memory after each, in bytes.
fn sessions(
    library: &str,
    (home, reference): (&str, &str),
    (count, prepack): (usize, bool),
) -> Result<(), Box<dyn Error>> {
    let engine = onnx_runtime::Engine::open(&LibrarySources {
        explicit: Some(PathBuf::from(library)),
        ..LibrarySources::default()
    })?;
    let store = Store::open(&PathBuf::from(home))?;
    let (entry, _lease) = store.checkout(&reference.parse()?)?;
    let (graph, model) = Bundle::open(&store, &entry.descriptor)?.graph(&store)?;
    let files = ModelFiles {
        graph: graph.graph,
        external: graph.external,
    };
    let signature = model.signature()?;
    let source = Source {
        files: &files,
        model: &model,
        signature: &signature,
    };
    let options = SessionOptions {
        prepack,
        ..SessionOptions::default()
    };
    let ones = |port: &Port| {
        let dims = port.shape.dims().unwrap_or_default().iter();
        let sizes: Vec<usize> = dims
            .map(|dim| match dim {
                Dim::Fixed(size) => *size as usize,
                _ => 1,
            })
            .collect();
        let count = sizes.iter().product();
        Tensor::from_vec(sizes, vec![1f32; count]).map(Value::Host)
    };
    let inputs = signature.inputs.iter().map(ones).collect::<Result<Vec<_>, _>>()?;
    let cancel = Cancel::default();
    let (mut open, mut anonymous_bytes) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let mut session = engine.load(&source, &options)?;
        session.run(Call {
            inputs: &inputs,
            keep_on_device: &[],
            deadline: None,
            cancel: &cancel,
        })?;
        open.push(session);
        anonymous_bytes.push(anonymous()?);
    }
    println!("{{\"anonymous_bytes\": {anonymous_bytes:?}}}");
    Ok(())
}

/// Reads how much memory this process has that is no file's.
fn anonymous() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kibibytes
        .ok_or("the system does not tell anonymous memory")?
        .parse::<u64>()?
        * 1024)
}

fn gpux_session(engine: &onnx_runtime::Engine, model: &str) -> Result<Box<dyn Session>, Box<dyn Error>> {
    let parsed = onnx::Model::parse(fs::read(model)?.into())?;
    let files = ModelFiles {
        graph: PathBuf::from(model),
        external: BTreeMap::new(),
    };
    let source = Source {
        files: &files,
        model: &parsed,
        signature: &parsed.signature()?,
    };
    let options = SessionOptions {
        threads: Some(1),
        prepack: true,
        ..SessionOptions::default()
    };
    Ok(engine.load(&source, &options)?)
}

fn one_thread(library: &str, model: &str) -> Result<OrtSession, Box<dyn Error>> {
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let builder = OrtSession::builder(&environment)?.with_intra_threads(1)?;
    Ok(builder.with_intra_op_spinning(false)?.commit_from_file(model)?)
}

fn digit_of(session: &mut OrtSession, pixels: &[f32]) -> Result<i64, ort::Error> {
    let image = TensorRef::from_array_view(([1usize, 1, 8, 8], pixels))?;
    let outputs = session.run(ort::inputs![image])?;
    let (_, digit) = outputs["digit"].try_extract_tensor::<i64>()?;
    Ok(digit[0])
}

/// Prints how long a call takes that 99 of 100 are not slower than.
fn call_time(library: &str, model: &str, calls: usize) -> Result<(), Box<dyn Error>> {
    let mut session = one_thread(library, model)?;
    let pixels = [0.5f32; 64];
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        digit_of(&mut session, &pixels)?;
        times.push(start.elapsed());
    }
    times.sort();
    let at = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
    println!("{}", times.get(at).ok_or("no calls")?.as_secs_f64());
    Ok(())
}

/// Prints how many rows a second a perceptron of 1024 inputs answers when it is called with `rows` at once, on all cores.
fn batch_rate(library: &str, model: &str, rows: usize, seconds: f64) -> Result<(), Box<dyn Error>> {
    let environment = ort::init_from(library)?.with_telemetry(false).build()?;
    let mut session = OrtSession::builder(&environment)?.commit_from_file(model)?;
    let x = vec![0.5f32; rows * 1024];
    let mut call = || -> Result<(), Box<dyn Error>> {
        session.run(ort::inputs![TensorRef::from_array_view(([rows, 1024], x.as_slice()))?])?;
        Ok(())
    };
    for _ in 0..3 {
        call()?;
    }
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < seconds {
        call()?;
        calls += 1;
    }
    println!("{}", (calls * rows) as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

/// Answers images, 64 float32 each, with their digit: as little as can be between a socket and a session.
fn serve(library: &str, model: &str, port: u16) -> Result<(), Box<dyn Error>> {
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    let session = Arc::new(Mutex::new(one_thread(library, model)?));
    let infer = move |body: Bytes| {
        let session = Arc::clone(&session);
        async move {
            let pixels: Vec<f32> = body
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect();
            let mut session = session.lock().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            match digit_of(&mut session, &pixels) {
                Ok(digit) => Ok(digit.to_le_bytes().to_vec()),
                Err(_) => Err(StatusCode::BAD_REQUEST),
            }
        }
    };
    let router = axum::Router::new()
        .route("/ready", get(|| async { StatusCode::OK }))
        .route("/infer", post(infer));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        axum::serve(listener, router).await
    })?;
    Ok(())
}

/// Writes a `ModelInferRequest` with one input of zeros, as gRPC frames it; `shape` is as in 1x3x224x224.
fn infer_request(model: &str, input: &str, datatype: &str, shape: &str) -> Result<bytes::Bytes, Box<dyn Error>> {
    fn number(to: &mut Vec<u8>, mut number: u64) {
        while number >= 128 {
            to.push(number as u8 | 128);
            number >>= 7;
        }
        to.push(number as u8);
    }
    fn field(to: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
        to.push(tag << 3 | 2);
        number(to, bytes.len() as u64);
        to.extend(bytes);
    }
    let dims: Vec<u64> = shape.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let element_bytes = match datatype {
        "FP16" => 2,
        "FP32" => 4,
        "INT64" => 8,
        other => return Err(format!("{other} is not a datatype that is sent here").into()),
    };
    let mut sizes = Vec::new();
    dims.iter().for_each(|&dim| number(&mut sizes, dim));
    let mut tensor = Vec::new();
    field(&mut tensor, 1, input.as_bytes());
    field(&mut tensor, 2, datatype.as_bytes());
    field(&mut tensor, 3, &sizes);
    let mut message = Vec::new();
    field(&mut message, 1, model.as_bytes());
    field(&mut message, 5, &tensor);
    let elements: u64 = dims.iter().product();
    field(&mut message, 7, &vec![0; usize::try_from(elements * element_bytes)?]);
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len())?.to_be_bytes());
    framed.extend(message);
    Ok(framed.into())
}

/// Sends one request after the other on each connection, and prints how many were answered in a second.
fn grpc_load(address: &str, body: bytes::Bytes, connections: usize, seconds: f64) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        // The first second warms up.
        let begin = Instant::now() + Duration::from_secs(1);
        let end = begin + Duration::from_secs_f64(seconds);
        for _ in 0..connections {
            let (address, body) = (address.to_owned(), body.clone());
            tasks.spawn(async move { ask_until(&address, body, begin, end).await });
        }
        let mut times = Vec::new();
        while let Some(answered) = tasks.join_next().await {
            times.extend(answered?.map_err(|error| -> Box<dyn Error> { error })?);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            times
                .get((times.len() as f64 * share) as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        println!(
            "{{\"requests_per_s\":{:.1},\"p50_ms\":{:.3},\"p99_ms\":{:.3}}}",
            times.len() as f64 / seconds,
            at(0.5) * 1e3,
            at(0.99) * 1e3,
        );
        Ok(())
    })
}

/// Asks on one connection; gives how long each request took that began and ended in time. Units: seconds.
async fn ask_until(
    address: &str,
    body: bytes::Bytes,
    begin: Instant,
    end: Instant,
) -> Result<Vec<f64>, Box<dyn Error + Send + Sync>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut client, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    while Instant::now() < end {
        client = client.ready().await?;
        let request = http::Request::post(format!("http://{address}/inference.GRPCInferenceService/ModelInfer"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let start = Instant::now();
        let (response, mut sender) = client.send_request(request, false)?;
        sender.send_data(body.clone(), true)?;
        let response = response.await?;
        let refused = |headers: &http::HeaderMap| headers.get("grpc-status").is_some_and(|status| status != "0");
        if refused(response.headers()) {
            return Err(format!("refused: {:?}", response.headers()).into());
        }
        let mut answer = response.into_body();
        while let Some(data) = answer.data().await {
            answer.flow_control().release_capacity(data?.len())?;
        }
        if let Some(trailers) = answer.trailers().await?.filter(refused) {
            return Err(format!("refused: {trailers:?}").into());
        }
        let now = Instant::now();
        if start >= begin && now <= end {
            times.push((now - start).as_secs_f64());
        }
    }
    Ok(times)
}
