//! Stops the program on a signal, or when the process that started it exits.

use tokio_util::sync::CancellationToken;

/// Cancelled on a [signal](iotpi_core::stop_signal) and, if requested, when standard input is closed. After
/// this call no such signal terminates the process: call it before devices are opened.
pub fn stop_token(until_stdin_closes: bool) -> CancellationToken {
    let stop = CancellationToken::new();
    let signal = iotpi_core::stop_signal();
    tokio::spawn({
        let stop = stop.clone();
        async move {
            signal.await;
            stop.cancel();
        }
    });
    if until_stdin_closes {
        let stop = stop.clone();
        // A plain thread: unlike a blocking thread of the runtime, it does not delay the exit of the program.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stop.cancel();
        });
    }
    stop
}
