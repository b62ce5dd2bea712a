//! When to stop: a signal, or the end of the one who started this program.

use tokio_util::sync::CancellationToken;

/// Cancelled on a [signal](iotpi_core::stop_signal) and, if asked, when the standard input is closed. From the call on no such signal
/// ends the process: call it before devices are opened.
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
        // A plain thread: unlike one of the runtime's, it keeps nobody waiting when the program ends otherwise.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            stop.cancel();
        });
    }
    stop
}
