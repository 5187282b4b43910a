/// The words that the tasks are made of.
enum WordBank {
    static let fruits = [
        "apple", "banana", "cherry", "fig", "grape", "lemon", "mango", "olive", "peach", "pear", "plum",
    ]
    static let animals = ["bear", "cat", "cow", "dog", "duck", "fox", "goat", "horse", "rabbit", "snake", "tiger"]
    static let colours = ["black", "blue", "brown", "green", "orange", "pink", "purple", "red", "white", "yellow"]
    static let tools = ["brush", "drill", "file", "hammer", "ladder", "nail", "rope", "saw", "shovel", "spoon"]
    static let places = ["bridge", "garden", "house", "river", "road", "school", "table", "tree", "wall", "window"]
    static let names = ["Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ines", "Jon", "Kira", "Leo"]
    static let cities = ["Bonn", "Cairo", "Delhi", "Lima", "Oslo", "Paris", "Rome", "Tokyo"]

    static let kinds = [("fruits", fruits), ("animals", animals), ("colours", colours), ("tools", tools)]
    static let words = fruits + animals + colours + tools + places
    static let ordinals = ["first", "second", "third", "fourth", "fifth", "sixth"]
    static let letters = "abcdefghijklmnopqrstuvwxyz".map(String.init)

    /// Ways to say much around an answer.
    static let padding: [@Sendable (String) -> String] = [
        { "Of course! Here is the answer that you asked for: \($0) Please tell me if you need anything else today." },
        { "That is a very good question. After some thought I would say that it is this: \($0)" },
        { "\($0) I hope that this helps you, and I am happy to explain every step of it if you like." },
    ]
}
