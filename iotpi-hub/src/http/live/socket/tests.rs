use futures_util::{SinkExt as _, StreamExt as _};
use proptest::prelude::*;
use tokio::io::{DuplexStream, duplex};

use super::*;

type Client = WebSocketStream<DuplexStream>;

/// Two ends of a line that holds so many bytes.
async fn line(holds: usize) -> (Socket<DuplexStream>, Client) {
    let (hub, client) = duplex(holds);
    (Socket::new(hub).await, WebSocketStream::from_raw_socket(client, Role::Client, None).await)
}

#[tokio::test]
async fn a_message_in_two_parts_comes_as_one_whatever_its_length() {
    let (mut socket, mut client) = line(1000).await;

    for length in [0, 1, 125, 126, 127, 1000, 65_535, 65_536, 200_000] {
        for first in [0, length / 2, length] {
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            socket.put(Kind::Binary, &bytes[..first], Bytes::copy_from_slice(&bytes[first..]));
            assert!(!socket.is_idle());

            let (sent, heard) = tokio::join!(socket.step(true), client.next());

            assert!(matches!(sent, Step::Sent) && socket.is_idle());
            assert_eq!(heard.unwrap().unwrap(), Message::binary(bytes));
        }
    }
    socket.put(Kind::Text, &[], Bytes::from_static(b"words"));
    let (_, heard) = tokio::join!(socket.step(true), client.next());
    assert_eq!(heard.unwrap().unwrap(), Message::text("words"));
}

#[tokio::test]
async fn a_client_is_heard_and_its_ping_answered_around_a_message_it_is_slow_to_take() {
    let (mut socket, mut client) = line(64).await;
    let picture = vec![7; 100_000];
    socket.put(Kind::Binary, b"", picture.clone().into());
    assert!(socket.progress().await.is_ok());
    assert!(!socket.is_idle() && socket.written() > 0);

    // Nothing of the picture was read yet.
    client.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    let pinged = socket.step(true).await;
    client.send(Message::text("hello")).await.unwrap();
    let said = socket.step(true).await;
    assert!(!socket.is_idle());
    let reads = async {
        let picture = client.next().await.unwrap().unwrap();
        let pong = client.next().await.unwrap().unwrap();
        client.send(Message::text("seen")).await.unwrap();
        (picture, pong)
    };
    let ((got, pong), heard) =
        tokio::join!(reads, async { [socket.step(true).await, socket.step(true).await] });

    assert!(matches!(pinged, Step::Heard(Message::Ping(_))), "{pinged:?}");
    assert!(matches!(said, Step::Heard(Message::Text(_))), "{said:?}");
    assert_eq!(got, Message::binary(picture));
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"?")));
    assert!(matches!(heard[0], Step::Sent), "{heard:?}");
    assert!(matches!(&heard[1], Step::Heard(Message::Text(text)) if *text == "seen"), "{heard:?}");
}

#[tokio::test]
async fn a_message_in_parts_is_one_message_with_pongs_between_its_parts() {
    let (mut socket, mut client) = line(1000).await;
    client.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    socket.put_part(Kind::Text, false, Bytes::from_static(b"two "));
    assert!(matches!(socket.step(true).await, Step::Sent));
    assert!(matches!(socket.step(true).await, Step::Heard(Message::Ping(_))));
    socket.put_part(Kind::Continuation, true, Bytes::from_static(b"parts"));

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
async fn of_pings_that_cannot_be_answered_a_bounded_number_of_pongs_waits() {
    let (mut socket, mut client) = line(4096).await;
    socket.put(Kind::Binary, b"", vec![7; 100_000].into());
    assert!(socket.progress().await.is_ok());

    // Nothing is read; each ping is heard.
    for i in 0..1000_u32 {
        client.send(Message::Ping(Bytes::copy_from_slice(&[i.to_be_bytes(); 30].concat()))).await.unwrap();
        assert!(matches!(socket.step(true).await, Step::Heard(Message::Ping(_))));
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

    // The newest ping is answered, and of those before a few.
    assert!((1..=6).contains(&pongs), "{pongs}");
}

#[tokio::test]
async fn a_line_that_closes_within_a_message_is_broken() {
    let (mut socket, client) = line(64).await;
    socket.put(Kind::Binary, b"", vec![7; 100_000].into());
    assert!(socket.progress().await.is_ok());

    drop(client);

    assert!(matches!(socket.step(true).await, Step::Broken));
    assert!(socket.progress().await.is_err());
}

/// Takes so many bytes at a time, and remembers where they lay: addresses to compare, never followed.
#[derive(Default)]
struct Noting {
    at_once: usize,
    taken: Vec<u8>,
    addresses: Vec<(*const u8, usize)>,
}

impl AsyncWrite for Noting {
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
fn what_tungstenite_writes_comes_after_the_message_under_way() {
    let outgoing = Some(Outgoing { head: vec![1; 10], payload: Bytes::from_static(&[2; 90]), written: 0 });
    let stream = Noting { at_once: 7, ..Noting::default() };
    let mut line = WriteStream { stream, outgoing, written: 0 };

    let wrote = Pin::new(&mut line).poll_write(&mut Context::from_waker(std::task::Waker::noop()), b"pong");

    assert!(matches!(wrote, Poll::Ready(Ok(4))), "{wrote:?}");
    assert_eq!(line.stream.taken, [&[1; 10][..], &[2; 90], b"pong"].concat());
}

proptest! {
    #[test]
    fn each_byte_of_a_payload_is_written_from_where_it_lies(
        first in proptest::collection::vec(any::<u8>(), 0..100),
        payload in proptest::collection::vec(any::<u8>(), 1..70_000),
        at_once in 1..70_000_usize
    ) {
        let payload = Bytes::from(payload);
        let head = head(Kind::Binary, true, &first, payload.len());
        let expected = [&head[..], &payload].concat();
        let head_len = head.len();
        let outgoing = Some(Outgoing { head, payload: payload.clone(), written: 0 });
        let stream = Noting { at_once: at_once.max(1), ..Noting::default() };
        let mut line = WriteStream { stream, outgoing, written: 0 };

        let done = line.poll_outgoing(&mut Context::from_waker(std::task::Waker::noop()));

        prop_assert!(matches!(done, Poll::Ready(Ok(()))));
        prop_assert!(line.outgoing.is_none());
        prop_assert_eq!(&line.stream.taken, &expected);
        prop_assert_eq!(line.written, expected.len() as u64);
        let lies = payload.as_ptr_range();
        let from_there: usize = line.stream.addresses.iter()
            .filter(|(at, _)| lies.contains(at)).map(|(_, bytes)| bytes).sum();
        prop_assert_eq!(from_there, expected.len() - head_len);
    }
}
