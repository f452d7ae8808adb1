// SPDX-License-Identifier: Apache-2.0
// Peer server HOST PORT: answers every request with the body that came.
// Peer client URL...: sends bodies of many sizes on kept and on new connections, and compares the answers.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.Executors;

public class Peer {
    static final Random RANDOM = new Random();

    public static void main(String[] args) throws Exception {
        if (args[0].equals("server")) {
            serve(args[1], Integer.parseInt(args[2]));
            return;
        }
        for (int i = 1; i < args.length; i++) {
            client(URI.create(args[i]));
        }
        System.out.println("ok");
        System.exit(0);
    }

    static void serve(String host, int port) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress(host, port), 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            exchange.getResponseHeaders().set("X-Server", "java");
            // -1 says "no body"; 0 would mean chunks.
            exchange.sendResponseHeaders(200, body.length == 0 ? -1 : body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }

    static HttpClient newClient() {
        // No upgrade to HTTP/2: the other servers answer it in different ways.
        return HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    }

    static void client(URI uri) throws Exception {
        HttpClient kept = newClient();
        for (int i = 0; i < 30; i++) {
            exchange(kept, uri, i * i * 1171 % 300_000);
        }
        for (int i = 0; i < 10; i++) {
            exchange(newClient(), uri, i * 977);
        }
    }

    static void exchange(HttpClient client, URI uri, int size) throws Exception {
        byte[] body = new byte[size];
        RANDOM.nextBytes(body);
        HttpRequest request = HttpRequest.newBuilder(uri).timeout(Duration.ofSeconds(60))
                .POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        HttpResponse<byte[]> response = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
        if (response.statusCode() != 200 || !Arrays.equals(response.body(), body)) {
            throw new Exception("status " + response.statusCode() + ", " + response.body().length
                    + " bytes back, not the " + size + " sent");
        }
    }
}
