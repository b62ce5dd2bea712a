use futures_util::{SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};

use super::*;

type Client = WebSocketStream<DuplexStream>;

/// A socket and its client, with a buffer of this size between them.
async fn connect(buffer_bytes: usize) -> (Socket<DuplexStream>, Client) {
    let (hub, client) = duplex(buffer_bytes);
    (Socket::new(hub).await, WebSocketStream::from_raw_socket(client, Role::Client, None).await)
}

#[tokio::test]
async fn a_message_in_two_parts_comes_as_one_whatever_its_length() {
    let (mut socket, mut client) = connect(1000).await;

    for length in [0, 1, 125, 126, 127, 1000, 65_535, 65_536, 200_000] {
        for first in [0, length / 2, length] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            socket.start_send(Opcode::Binary, &bytes[..first], Bytes::copy_from_slice(&bytes[first..]));
            assert!(!socket.is_idle());

            let (sent, received) = tokio::join!(socket.step(true), client.next());

            assert!(matches!(sent, Step::Sent) && socket.is_idle());
            assert_eq!(received.unwrap().unwrap(), Message::binary(bytes));
        }
    }
    socket.start_send(Opcode::Text, &[], Bytes::from_static(b"words"));
    let (_, received) = tokio::join!(socket.step(true), client.next());
    assert_eq!(received.unwrap().unwrap(), Message::text("words"));
}

#[tokio::test]
async fn a_slow_reader_of_a_message_is_read_and_its_ping_is_answered_after_the_message() {
    let (mut socket, mut client) = connect(64).await;
    let frame = vec![7; 100_000];
    socket.start_send(Opcode::Binary, b"", frame.clone().into());
    assert!(socket.progress().await.is_ok());
    assert!(!socket.is_idle() && socket.written() > 0);

    // The client has not read any of the frame yet.
    client.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    let pinged = socket.step(true).await;
    client.send(Message::text("hello")).await.unwrap();
    let said = socket.step(true).await;
    assert!(!socket.is_idle());
    let reads = async {
        let frame = client.next().await.unwrap().unwrap();
        let pong = client.next().await.unwrap().unwrap();
        client.send(Message::text("seen")).await.unwrap();
        (frame, pong)
    };
    let ((got, pong), received) =
        tokio::join!(reads, async { [socket.step(true).await, socket.step(true).await] });

    assert!(matches!(pinged, Step::Received(Message::Ping(_))), "{pinged:?}");
    assert!(matches!(said, Step::Received(Message::Text(_))), "{said:?}");
    assert_eq!(got, Message::binary(frame));
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"?")));
    assert!(matches!(received[0], Step::Sent), "{received:?}");
    assert!(matches!(&received[1], Step::Received(Message::Text(text)) if *text == "seen"), "{received:?}");
}

#[tokio::test]
async fn a_message_in_parts_is_one_message_with_pongs_between_its_parts() {
    let (mut socket, mut client) = connect(1000).await;
    client.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    socket.start_send_part(Opcode::Text, false, Bytes::from_static(b"two "));
    assert!(matches!(socket.step(true).await, Step::Sent));
    assert!(matches!(socket.step(true).await, Step::Received(Message::Ping(_))));
    socket.start_send_part(Opcode::Continuation, true, Bytes::from_static(b"parts"));

    let (sent, pong, text) = tokio::join!(socket.step(true), client.next(), async {});
    let text = {
        let () = text;
        client.next().await
    };

    assert!(matches!(sent, Step::Sent));
    assert_eq!(pong.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"?")));
    assert_eq!(text.unwrap().unwrap(), Message::text("two parts"));
}

#[tokio::test]
async fn the_number_of_waiting_pongs_is_bounded() {
    let (mut socket, mut client) = connect(4096).await;
    socket.start_send(Opcode::Binary, b"", vec![7; 100_000].into());
    assert!(socket.progress().await.is_ok());

    // The client reads nothing, and each ping arrives.
    for i in 0..1000_u32 {
        client.send(Message::Ping(Bytes::copy_from_slice(&[i.to_be_bytes(); 30].concat()))).await.unwrap();
        assert!(matches!(socket.step(true).await, Step::Received(Message::Ping(_))));
    }
    let newest = Bytes::copy_from_slice(&[999_u32.to_be_bytes(); 30].concat());
    let reads = async {
        let mut pongs = 0;
        loop {
            if let Message::Pong(payload) = client.next().await.unwrap().unwrap() {
                pongs += 1;
                if payload == newest {
                    return pongs;
                }
            }
        }
    };
    let pongs = tokio::select! {
        pongs = reads => pongs,
        () = async { loop { socket.step(true).await; } } => unreachable!(),
    };

    // The newest ping is answered, and a few earlier ones.
    assert!((1..=6).contains(&pongs), "{pongs}");
}

#[tokio::test]
async fn a_connection_that_closes_within_a_message_is_broken() {
    let (mut socket, client) = connect(64).await;
    socket.start_send(Opcode::Binary, b"", vec![7; 100_000].into());
    assert!(socket.progress().await.is_ok());

    drop(client);

    assert!(matches!(socket.step(true).await, Step::Broken));
    assert!(socket.progress().await.is_err());
}

/// Accepts up to `at_once` bytes per write and records their addresses, which are only compared.
#[derive(Default)]
struct RecordingStream {
    at_once: usize,
    taken: Vec<u8>,
    addresses: Vec<(*const u8, usize)>,
}

impl AsyncWrite for RecordingStream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let some = &bytes[..bytes.len().min(self.at_once)];
        self.taken.extend(some);
        Poll::Ready(Ok(some.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut left = self.at_once;
        for slice in slices {
            let some = &slice[..slice.len().min(left)];
            left -= some.len();
            self.taken.extend(some);
            self.addresses.push((some.as_ptr(), some.len()));
        }
        Poll::Ready(Ok(self.at_once - left))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn control_frames_are_written_after_the_message_in_flight() {
    let outgoing = Some(Outgoing { header: vec![1; 10], payload: Bytes::from_static(&[2; 90]), written: 0 });
    let stream = RecordingStream { at_once: 7, ..RecordingStream::default() };
    let mut write_stream = WriteStream { stream, outgoing, written: 0 };

    let wrote =
        Pin::new(&mut write_stream).poll_write(&mut Context::from_waker(std::task::Waker::noop()), b"pong");

    assert!(matches!(wrote, Poll::Ready(Ok(4))), "{wrote:?}");
    assert_eq!(write_stream.stream.taken, [&[1; 10][..], &[2; 90], b"pong"].concat());
}

proptest! {
    #[test]
    fn each_byte_of_a_payload_is_written_without_a_copy(
        first in proptest::collection::vec(any::<u8>(), 0..100),
        payload in proptest::collection::vec(any::<u8>(), 1..70_000),
        at_once in 1..70_000_usize
    ) {
        let payload = Bytes::from(payload);
        let head = frame_header(Opcode::Binary, true, &first, payload.len());
        let expected = [&head[..], &payload].concat();
        let head_len = head.len();
        let outgoing = Some(Outgoing { header: head, payload: payload.clone(), written: 0 });
        let stream = RecordingStream { at_once: at_once.max(1), ..RecordingStream::default() };
        let mut write_stream = WriteStream { stream, outgoing, written: 0 };

        let done = write_stream.poll_outgoing(&mut Context::from_waker(std::task::Waker::noop()));

        prop_assert!(matches!(done, Poll::Ready(Ok(()))));
        prop_assert!(write_stream.outgoing.is_none());
        prop_assert_eq!(&write_stream.stream.taken, &expected);
        prop_assert_eq!(write_stream.written, expected.len() as u64);
        let lies = payload.as_ptr_range();
        let from_there: usize = write_stream.stream.addresses.iter()
            .filter(|(at, _)| lies.contains(at)).map(|(_, bytes)| bytes).sum();
        prop_assert_eq!(from_there, expected.len() - head_len);
    }
}
