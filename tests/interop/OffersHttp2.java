// Default HTTP client of Java. It offers HTTP/2 with each request over plain HTTP.
// Prints the number of responses with the expected status, and of failures.
//
//   java OffersHttp2.java URL BODY STATUS COUNT

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;

class OffersHttp2 {
    public static void main(String[] arguments) throws Exception {
        URI url = URI.create(arguments[0]);
        byte[] body = arguments[1].getBytes(StandardCharsets.UTF_8);
        int status = Integer.parseInt(arguments[2]);
        int count = Integer.parseInt(arguments[3]);
        HttpClient client = HttpClient.newHttpClient();
        int good = 0;
        int failed = 0;
        List<CompletableFuture<Integer>> pending = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            // Every third body has an unknown length.
            BodyPublisher publisher = number % 3 == 0
                ? BodyPublishers.fromPublisher(BodyPublishers.ofByteArray(body))
                : BodyPublishers.ofByteArray(body);
            HttpRequest request = HttpRequest.newBuilder(url).header("Content-Type", "application/json")
                .expectContinue(number % 10 == 1).POST(publisher).build();
            pending.add(client.sendAsync(request, BodyHandlers.ofString()).handle((response, error) -> {
                if (error != null) {
                    System.err.println(error);
                    return -1;
                }
                return response.statusCode();
            }));
            if (pending.size() == 4) {
                for (CompletableFuture<Integer> one : pending) {
                    int code = one.get();
                    if (code == status) good++;
                    if (code == -1) failed++;
                }
                pending.clear();
            }
        }
        for (CompletableFuture<Integer> one : pending) {
            int code = one.get();
            if (code == status) good++;
            if (code == -1) failed++;
        }
        System.out.println(good + " good, " + failed + " failed");
    }
}
